"""Names and places of the invented people: our own lists, one culture a row.

Accents, non-Latin orthographies in Latin script, double names and particles are kept on purpose:
they are what a search by name meets in practice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta, timezone


@dataclass(frozen=True, slots=True)
class Culture:
    """First names by gender, family names, language and a home: city, region and postal pattern.

    In `postal` and `phone` each `#` stands for a digit. `zone` is a fixed offset from UTC.
    """

    language: str
    language_name: str
    country: str
    women: tuple[str, ...]
    men: tuple[str, ...]
    families: tuple[str, ...]
    streets: tuple[str, ...]
    cities: tuple[tuple[str, str], ...]
    postal: str
    phone: str
    zone: timezone


def _culture(
    language: str, country: str, women: str, men: str, families: str, streets: str, cities: str,
    postal: str, phone: str, hours: float,
) -> Culture:  # fmt: skip
    code, _, name = language.partition(" ")
    return Culture(
        language=code,
        language_name=name,
        country=country,
        women=_words(women),
        men=_words(men),
        families=_words(families),
        streets=tuple(street.strip() for street in streets.split(",")),
        cities=tuple(_place(place) for place in cities.split(",")),
        postal=postal,
        phone=phone,
        zone=timezone(timedelta(hours=hours)),
    )


def _words(text: str) -> tuple[str, ...]:
    """Words of a list; an underscore stands for the space within a name."""
    return tuple(word.replace("_", " ") for word in text.split())


def _place(text: str) -> tuple[str, str]:
    city, _, region = text.strip().partition("/")
    return city, region


CULTURES: tuple[Culture, ...] = (
    _culture(
        "en-US English", "US",
        "Abigail Bernice Carla Dorothy Evelyn Grace Hannah Irene Joyce Kimberly Latoya Megan "
        "Naomi Ruth Tessa",
        "Aaron Byron Calvin Darnell Edward Frank Gregory Howard Isaac Jerome Kenneth Marcus "
        "Neil Russell Wade",
        "Abbott Barlow Coleman Dawson Ellison Fletcher Griffin Harmon Ingram Jennings "
        "Kirkland Lawson Merritt "
        "Norwood O'Brien Prescott Quimby Ramsey Sheffield Thornton Underwood Whitaker",
        "Maple Avenue, Mill Road, Orchard Lane, Harbor Street, Prospect Court, Cedar Drive",
        "Springfield/Massachusetts, Cedar Falls/Iowa, Burlington/Vermont, Eugene/Oregon",
        "#####", "+1-555-###-####", -5,
    ),
    _culture(
        "es Spanish", "ES",
        "Adela Beatriz Carmen Dolores Elena Fátima Inés Lucía Manuela Noelia Pilar Rocío Verónica",
        "Álvaro Benito César Diego Emilio Fermín Gonzalo Hernán Íñigo Joaquín Leandro Óscar Raúl",
        "Álvarez Benítez Calderón Domínguez Escobar Fernández García_Lorca Herrera Ibáñez "
        "Jiménez Lozano Muñoz "
        "Núñez Ordóñez Peña Quiroga Rodríguez Sepúlveda",
        "Calle del Olmo, Avenida de la Estación, Plaza Vieja, Calle de la Fuente, Paseo del Río",
        "Zaragoza/Aragón, Cádiz/Andalucía, León/Castilla y León", "#####", "+34 9## ### ###", 1,
    ),
    _culture(
        "de German", "DE",
        "Anneliese Birgit Cornelia Dörte Elke Franziska Gudrun Heike Jördis Käthe Liselotte Monika Ulrike",
        "Axel Bernd Dieter Eckhard Friedrich Götz Heiner Jürgen Klaus Lothar Matthias Rüdiger Uwe",
        "Ackermann Böhm Dörfler Eichhorn Förster Großmann Hübner Jäger Köhler Lindner Müller "
        "Neumann Pfeiffer "
        "Schäfer Schröder Vogt Weiß von_Bergen",
        "Lindenstraße, Am Mühlbach, Kirchgasse, Bahnhofstraße, Rosenweg, Alter Markt",
        "Göttingen/Niedersachsen, Münster/Nordrhein-Westfalen, Würzburg/Bayern",
        "#####", "+49 5## ######", 1,
    ),
    _culture(
        "fr French", "FR",
        "Adèle Bérénice Camille Delphine Élodie Françoise Gaëlle Hélène Joséphine Maëlys Noémie Océane Zoé",
        "Antoine Bastien Cédric Didier Étienne François Grégoire Hervé Jérôme Léon Maël Rémi Théo",
        "Aubert Béranger Chevallier Delacroix Fournier Gauthier Hérault Joubert Lefèvre "
        "Marchand Noël Pélissier "
        "Renaud Thévenot Vasseur d'Aubigny",
        "Rue des Tilleuls, Allée du Moulin, Place de l'Église, Rue du Four, Chemin des Vignes",
        "Besançon/Doubs, Nîmes/Gard, Saint-Étienne/Loire", "#####", "+33 4 ## ## ## ##", 1,
    ),
    _culture(
        "it Italian", "IT",
        "Agnese Bianca Chiara Donatella Eleonora Fiorella Giulia Ilaria Lucrezia Martina Noemi Serena",
        "Alessio Bruno Corrado Davide Ettore Fabrizio Gaetano Leonardo Niccolò Pietro Salvatore Vittorio",
        "Amato Bellini Caruso D'Angelo Esposito Ferrara Gallo Lombardi Marchetti Nicolosi Pellegrini Rinaldi "
        "Sartori Tedesco Villa",
        "Via dei Tigli, Corso Vecchio, Piazza del Duomo, Via della Fontana, Vicolo Stretto",
        "Ferrara/Emilia-Romagna, Lecce/Puglia, Udine/Friuli", "#####", "+39 0## ######", 1,
    ),
    _culture(
        "pl Polish", "PL",
        "Agnieszka Bożena Celina Danuta Elżbieta Grażyna Halina Iwona Jadwiga Katarzyna Małgorzata Żaneta",
        "Andrzej Bogdan Czesław Damian Grzegorz Jarosław Kazimierz Łukasz Mieczysław Paweł "
        "Stanisław Zbigniew",
        "Adamczyk Bąk Ciołek Dąbrowski Górski Jaworski Kaczmarek Łuczak Mazur Nowakowski Piątek Różański "
        "Sikora Świątek Wójcik Zieliński",
        "ulica Lipowa, ulica Ogrodowa, aleja Parkowa, ulica Młyńska, plac Targowy",
        "Toruń/kujawsko-pomorskie, Rzeszów/podkarpackie, Łódź/łódzkie",
        "##-###", "+48 ### ### ###", 1,
    ),
    _culture(
        "tr Turkish", "TR",
        "Ayşe Burcu Çiğdem Derya Elif Gülşen Hülya İpek Mübeccel Nurgül Özlem Şebnem Zeynep",
        "Ahmet Barış Cengiz Doğan Emre Gökhan Hüseyin İsmail Kadir Mehmet Oğuz Şükrü Yiğit",
        "Aydın Bozkurt Çelik Demir Erdoğan Güneş Işık Kılıç Öztürk Polat Şahin Tekin Uçar Yıldız",
        "Çınar Sokak, İstasyon Caddesi, Gül Sokak, Bahçe Caddesi",
        "Eskişehir/Eskişehir, Muğla/Muğla, Çanakkale/Çanakkale", "#####", "+90 2## ### ## ##", 3,
    ),
    _culture(
        "ar Arabic", "EG",
        "Amina Basma Dalal Farida Ghada Hanan Iman Khadija Layla Maryam Nadia Rania Salma Yasmin",
        "Abdallah Bilal Faisal Hamza Ibrahim Jamal Khalil Mahmoud Nabil Omar Rashid Samir Tariq Youssef",
        "Abd_al-Rahman al-Hashimi al-Masri Bakri El-Sayed Fahmy Hassan Ismail Khoury Mansour Naguib Qasim "
        "Ramadan Saleh Zaki",
        "Sharia al-Nil, Sharia al-Madrasa, Midan al-Saa, Sharia al-Bustan",
        "Alexandria/Alexandria, Aswan/Aswan, Tanta/Gharbia", "#####", "+20 4# ### ####", 2,
    ),
    _culture(
        "hi Hindi", "IN",
        "Aarti Bhavna Chandrika Deepika Gauri Indira Jyoti Kavita Lakshmi Meera Nandini Priya Shreya Usha",
        "Arjun Bharat Chetan Devendra Ganesh Harish Kiran Manoj Nikhil Pranav Rajesh Sanjay Vikram Yash",
        "Agarwal Bhattacharya Chopra Deshmukh Gupta Iyer Joshi Kulkarni Mehta Nair Patil Rao "
        "Sharma Trivedi Verma",
        "Station Road, Nehru Marg, Temple Street, Gandhi Nagar, Lake View Road",
        "Nashik/Maharashtra, Mysuru/Karnataka, Jaipur/Rajasthan", "######", "+91 9#### #####", 5.5,
    ),
    _culture(
        "zh Chinese", "CN",
        "Chunhua Fang Huilan Jiayi Lihua Meiling Ning Qing Ruolan Shuyi Xiaoyan Yulan Zihan",
        "Bowen Chao Dawei Guoqiang Haoran Jianguo Lei Minghao Peng Weidong Xiaofeng Yong Zhiyuan",
        "Cao Chen Deng Feng Gao Huang Jiang Liang Lü Ouyang Peng Qian Sun Wang Xu Zhang Zhou",
        "Jiefang Lu, Renmin Jie, Xinhua Lu, Heping Lu",
        "Hangzhou/Zhejiang, Xiamen/Fujian, Chengdu/Sichuan", "######", "+86 1## #### ####", 8,
    ),
    _culture(
        "ja Japanese", "JP",
        "Aiko Chiyo Emi Fumiko Haruka Kaori Mayumi Natsuki Rei Sakura Tomoko Yūko",
        "Akira Daichi Goro Hideo Jun Kazuo Makoto Noboru Ryōta Shinji Takeshi Yasuo",
        "Aoki Endō Fujita Hayashi Inoue Katō Matsuda Nakajima Ōno Saitō Takahashi Ueda Watanabe Yamaguchi",
        "Sakura-chō 2-chōme, Midori-ku 4-chōme, Hon-dōri, Minato-machi",
        "Kanazawa/Ishikawa, Matsuyama/Ehime, Sendai/Miyagi", "###-####", "+81 9# #### ####", 9,
    ),
    _culture(
        "vi Vietnamese", "VN",
        "Bích Diễm Hằng Hoa Lan Mai Ngọc Phương Quỳnh Thảo Tuyết Yến",
        "An Bảo Cường Dũng Hải Khánh Long Minh Phúc Quang Tuấn Việt",
        "Bùi Đặng Đỗ Hoàng Lê Ngô Nguyễn Phạm Phan Trần Võ Vũ",
        "Đường Lê Lợi, Đường Trần Phú, Đường Hai Bà Trưng, Đường Nguyễn Huệ",
        "Huế/Thừa Thiên Huế, Đà Lạt/Lâm Đồng, Cần Thơ/Cần Thơ", "######", "+84 9# ### ## ##", 7,
    ),
    _culture(
        "en-NG English", "NG",
        "Adaeze Bolanle Chidinma Ebele Folasade Halima Ifeoma Ngozi Omolara Temitope Uju Yetunde",
        "Abiodun Babatunde Chukwuemeka Emeka Femi Ibrahim Kelechi Obinna Olumide Segun Tunde Uche",
        "Abubakar Adeyemi Balogun Chukwu Danjuma Eze Ibeh Lawal Mohammed Nwosu Obi Okafor "
        "Onyekachi Salami Usman",
        "Market Road, Airport Road, Church Street, Marina Close, Palm Grove",
        "Enugu/Enugu, Ibadan/Oyo, Jos/Plateau", "######", "+234 80# ### ####", 1,
    ),
    _culture(
        "pt-BR Portuguese", "BR",
        "Aparecida Beatriz Conceição Débora Fernanda Graça Heloísa Jussara Luíza Mônica Rosângela Tânia",
        "Antônio Caetano Décio Fabrício Geraldo Hélio João Luís_Felipe Márcio Otávio Sebastião Vinícius",
        "Araújo Barbosa Cardoso Conceição Figueiredo Gonçalves Magalhães Nascimento Oliveira Queirós Ribeiro "
        "Simões Tavares da_Silva dos_Santos",
        "Rua das Acácias, Avenida Beira-Mar, Travessa do Porto, Rua Quinze de Novembro",
        "Florianópolis/Santa Catarina, São Luís/Maranhão, Goiânia/Goiás",
        "#####-###", "+55 48 9####-####", -3,
    ),
    _culture(
        "sv Swedish", "SE",
        "Agneta Åsa Birgitta Ebba Gunilla Ingrid Kerstin Linnéa Märta Solveig Ulla Ylva",
        "Anders Björn Erik Göran Håkan Jörgen Lennart Mårten Nils Örjan Sören Torbjörn",
        "Andersson Bergström Dahlgren Ekström Forsberg Göransson Håkansson Lindqvist Nyström Öberg Sjögren "
        "Söderberg Wikström Åkerlund",
        "Björkgatan, Storgatan, Kyrkvägen, Hamngatan, Ängsvägen",
        "Linköping/Östergötland, Umeå/Västerbotten, Växjö/Kronoberg",
        "### ##", "+46 70 ### ## ##", 1,
    ),
    _culture(
        "uk Ukrainian", "UA",
        "Bohdana Daryna Halyna Iryna Kateryna Lesia Mariia Nataliia Oksana Solomiia Tetiana Zoriana",
        "Andrii Bohdan Danylo Fedir Hryhorii Ivan Kyrylo Mykola Oleksandr Petro Taras Vasyl",
        "Bilous Boiko Chornovil Hrytsenko Ivanenko Kovalchuk Lysenko Melnyk Onyshchenko Petrenko Savchenko "
        "Shevchuk Tkachenko Vynnychuk",
        "vulytsia Sadova, vulytsia Lisova, prospekt Myru, vulytsia Shkilna",
        "Poltava/Poltava, Lviv/Lviv, Chernivtsi/Chernivtsi", "#####", "+380 50 ### ## ##", 2,
    ),
)  # fmt: skip
